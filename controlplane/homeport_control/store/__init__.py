"""The database: guarded reads and writes, domain values in and out. ORM rows and SQL stop here."""
