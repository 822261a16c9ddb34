"""Training tasks: ways to make (text -> identifier) examples from a corpus."""
