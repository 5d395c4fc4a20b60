"""SIF files that others publish at URLs: fetched once, and answered like those that are made here."""
