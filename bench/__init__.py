"""How trioet compares with Eternal Terminal, ssh and mosh. Run it: `python -m bench`."""
