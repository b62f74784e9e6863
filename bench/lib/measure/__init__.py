"""The vocabulary of a measurement, and how one is taken."""
