"""Reading and writing collections of documents, queries and relevance judgements."""
