"""Process of `danlu train --live`: serves the page of the run, and ends after the training.

python -m danlu.following.companion FOLDER FILE_NUMBER_OF_THE_SOCKET LANGUAGE
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

LINGER_SECONDS = 10.0  # after the training, so that its end reaches the browsers


def main(folder: str, number: int, language: str) -> None:
    """Serve until the parent process has ended, however it ended."""
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.SIG_IGN)
    parent = os.getppid()
    from danlu.following.server import LiveServer, spare_the_training

    spare_the_training()
    server = LiveServer(socket.socket(fileno=number), Path(folder), language)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    while os.getppid() == parent:
        time.sleep(0.5)
    time.sleep(LINGER_SECONDS)
    server.shutdown()
    server.end()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
