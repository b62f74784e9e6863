"""The sections, by subject: what is measured, and the rows that compare it."""
