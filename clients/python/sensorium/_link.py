"""Sockets: where the daemon is, keys, and what a socket's monitor says."""

from __future__ import annotations

import os
import pathlib
import stat
from typing import Any, Mapping, Optional, Union

import zmq
import zmq.auth

from . import errors
from ._flow import Replies

MONITORED = (zmq.EVENT_CONNECT_RETRIED | zmq.EVENT_DISCONNECTED | zmq.EVENT_HANDSHAKE_SUCCEEDED
             | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
             | zmq.EVENT_HANDSHAKE_FAILED_AUTH)
OPTIONS = {
    zmq.IMMEDIATE: 1,  # requests do not wait for a daemon that may come hours later
    zmq.LINGER: 300, zmq.HEARTBEAT_IVL: 10000, zmq.HEARTBEAT_TIMEOUT: 30000,
    zmq.RECONNECT_IVL: 50, zmq.RECONNECT_IVL_MAX: 2000,
}
File = Union[str, "os.PathLike[str]"]


def default_endpoint() -> str:
    """$SENSORIUM_ENDPOINT, else the user's own socket when it is there, else the system's."""
    named = os.environ.get("SENSORIUM_ENDPOINT")
    if named:
        return named
    folder = os.environ.get("XDG_RUNTIME_DIR", "")
    own = f"{folder}/sensorium/sensoriumd.sock"
    return f"ipc://{own}" if folder.startswith("/") and os.path.exists(own) else "ipc:///run/sensorium/sensoriumd.sock"


def open_socket(context: Any, endpoint: str, certificate: Optional[File], server_key: Optional[File]) -> Any:
    if (certificate is None) != (server_key is None):
        raise ValueError("certificate and server_key go together")
    socket = context.socket(zmq.DEALER)
    try:
        for option, value in OPTIONS.items():
            socket.setsockopt(option, value)
        if certificate is not None and server_key is not None:
            public, secret = _load_certificate(certificate)
            socket.curve_serverkey = zmq.auth.load_certificate(os.fspath(server_key))[0]
            socket.curve_publickey, socket.curve_secretkey = public, secret
    except BaseException:
        socket.close()
        raise
    return socket


def _load_certificate(certificate: File) -> Any:
    """NAME or NAME_secret, as `sensorium keygen` makes them."""
    path = pathlib.Path(certificate)
    if not path.name.endswith("_secret"):
        path = path.with_name(path.name + "_secret")
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ValueError(f"{path}: a secret key that others can read: chmod 600 it")
    public, secret = zmq.auth.load_certificate(path)
    if secret is None:
        raise ValueError(f"{path}: there is no secret key in it")
    return public, secret


def take_monitor_event(replies: Replies, message: Mapping[str, Any]) -> bool:
    """True: the connection was lost. All that came over it is in the socket: read that, then say replies.lost()."""
    event = message["event"]
    if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
        replies.connected, replies.trouble, replies.hopeless = True, "", False
    elif event == zmq.EVENT_DISCONNECTED:
        return replies.connected
    elif event == zmq.EVENT_CONNECT_RETRIED:
        replies.trouble = replies.trouble or "nobody listens there: is sensoriumd running?"
    elif event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
        replies.trouble, replies.hopeless = "the daemon does not know this client's certificate", True
    elif not replies.hopeless:
        replies.hopeless = True
        replies.trouble = ("no agreement on encryption: the daemon's public key is another, or one of the two has no "
                           "certificate")
    return False


def connect(socket: Any, endpoint: str) -> None:
    try:
        socket.connect(endpoint)
    except zmq.ZMQError as e:
        raise errors.NoAnswer(f"{endpoint}: no endpoint: {e} (ipc://PATH or tcp://HOST:PORT)") from None
