"""The national language tables as data (TS 23.038 Annex A)."""
