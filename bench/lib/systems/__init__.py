"""What is measured, and what drives it: Soloist, its peers, and the load generators."""
