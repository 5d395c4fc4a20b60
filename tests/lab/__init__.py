"""The lab: real registries, engines and users for tests, started by the test, bounded in time, stopped by pid."""
