"""Signs of life: a rank that is stopped must not keep the others waiting for ever.

Every rank sends an empty message to the next one in a ring, several times per deadline, from a
thread that runs while this rank computes or waits. The one that hears nothing says so and ends all.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

_ALIVE_TAG, _LEAVING_TAG = 0, 1

_LONGEST_PAUSE_SECONDS = 1.0
_PAUSES_PER_DEADLINE = 10

# At the end ranks leave one after another: they look for the word of the one before this often.
_LEAVING_PAUSE_SECONDS = 1e-3


class Pulse(threading.Thread):
    """Sends signs of life to the next rank and listens for those of the one before.

    Time in which this process is stopped itself does not count: after a whole job has been
    suspended, all ranks find each other alive.

    Args:
        communicator: A communicator of mpi4py that nothing else uses, of at least two ranks, in a
            library that allows calls from several threads.
        deadline: Seconds of silence after which the rank before counts as stopped.
        on_silence: Called from the thread with that rank and the seconds; does not return.
    """

    def __init__(
        self, communicator: Any, deadline: float, on_silence: Callable[[int, float], None]
    ) -> None:
        super().__init__(name="phasic_mpi pulse", daemon=True)
        self._mpi = communicator
        self._deadline = deadline
        self._on_silence = on_silence
        self._next = (communicator.rank + 1) % communicator.size
        self._before = (communicator.rank - 1) % communicator.size
        self._leaving = threading.Event()
        self._has_left = False  # the rank before
        self._silent_seconds = 0.0
        self._sent: list[Any] = []

    def finish(self) -> None:
        """Collective. Waits until the rank before leaves too, so that no message is left over."""
        self._leaving.set()
        self.join()

    def run(self) -> None:
        pause = min(_LONGEST_PAUSE_SECONDS, self._deadline / _PAUSES_PER_DEADLINE)
        while not self._leaving.is_set():
            self._send(_ALIVE_TAG)
            self._listen(pause, self._leaving.wait)
        self._send(_LEAVING_TAG)
        while not self._has_left:
            self._listen(_LEAVING_PAUSE_SECONDS, time.sleep)
        for request in self._sent:
            request.Wait()

    def _listen(self, pause: float, wait: Callable[[float], object]) -> None:
        """Waits, then takes in what has come; does not return if nothing came for too long."""
        begin = time.monotonic()
        wait(pause)
        waited = min(time.monotonic() - begin, 2 * pause)
        # Whoever leaves sends nothing after its last message: it is looked for first.
        self._has_left = self._has_left or self._receive(_LEAVING_TAG)
        if self._receive(_ALIVE_TAG) or self._has_left:
            self._silent_seconds = 0.0
            return
        self._silent_seconds += waited
        if self._silent_seconds >= self._deadline:
            self._on_silence(self._before, self._silent_seconds)

    def _send(self, tag: int) -> None:
        self._sent = [request for request in self._sent if not request.Test()]
        self._sent.append(self._mpi.Isend(np.empty(0, np.uint8), dest=self._next, tag=tag))

    def _receive(self, tag: int) -> bool:
        """Takes in all messages with this tag; whether there were any."""
        found = False
        while self._mpi.Iprobe(source=self._before, tag=tag):
            self._mpi.Recv(np.empty(0, np.uint8), source=self._before, tag=tag)
            found = True
        return found
