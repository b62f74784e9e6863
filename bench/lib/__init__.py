"""What the scripts of this folder have in common."""
