"""How trioet compares with Eternal Terminal, ssh, mosh and goscon. Run it: `python -m bench`."""

import sys
from pathlib import Path

# trioet of this checkout, whatever is installed.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))
