"""The proof of what trioet promises, for anyone to run: see README.md."""
