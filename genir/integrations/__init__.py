"""Clients and integrations: HTTP, LangChain, PyTerrier. Each module needs its own extra."""
