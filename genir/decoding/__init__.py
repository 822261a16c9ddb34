"""The trie and the searches over it."""
