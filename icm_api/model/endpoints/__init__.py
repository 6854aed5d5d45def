"""Endpoints: one file for each wire. An endpoint sends a request and names what went wrong, and no more."""
