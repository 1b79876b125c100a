import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # the small ledgers of test_rules.py are drawn in test_drawings.py too
