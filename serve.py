"""Serve a model: `python serve.py MODEL [--host 127.0.0.1] [--port 8000]`."""

from genir.cli import run_serve

if __name__ == "__main__":
    run_serve()
