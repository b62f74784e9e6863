"""The measured systems and the load generators that drive them: a module each."""
