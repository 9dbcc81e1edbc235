"""Studies: several runs that answer one question, in one folder."""
