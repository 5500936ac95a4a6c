"""What checking ID tokens costs those who have nobody sign in: nothing."""

import subprocess
import sys


def test_a_gateway_without_a_provider_does_not_load_the_library() -> None:
    code = "import sys, gateway.app; print([name for name in ('joserfc', 'cryptography') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
