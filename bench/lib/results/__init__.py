"""Results: as tables, as JSON, as an entry of the ledger, and as a picture."""
