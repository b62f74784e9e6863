"""Results as text, as a picture, for programs, and in the ledger."""
