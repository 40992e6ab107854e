"""Running a witness of transparency logs, and asking one: C2SP tlog-witness over HTTP."""
