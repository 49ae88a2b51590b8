"""TLS before a server that speaks none: an authority of its own, a certificate that is valid or has expired.

The pipeline trusts whom this machine trusts, and a drill must not change that: so this process, which is told of the
authority, does the delivery meanwhile. Not here: what fails then (`access`).
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from glp1_pipeline.adapters import outbox
from glp1_pipeline.adapters.ehr import Ehr, EhrSettings
from glp1_pipeline.contracts import load

from .looping import PATIENCE
from .scene import Scene

LATER = timedelta(days=1)


class TlsFront:
    """Passes bytes on to `upstream` (an http address); `url` is the https address of the same."""

    def __init__(self, upstream: str, folder: Path) -> None:
        parts = urlsplit(upstream)
        self._there = (parts.hostname or "127.0.0.1", parts.port or 80)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder, self.ca_file = folder, folder / "authority.pem"
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.ca_file.write_bytes(_certificate("A drill's authority", self._key, self._key, LATER))
        self._context = self._context_of(LATER)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.url = f"https://127.0.0.1:{self.port}{parts.path}"
        self._is_over = threading.Event()

    def __enter__(self) -> TlsFront:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._is_over.set()
        self._listening.close()

    def use(self, is_expired: bool = False) -> None:
        """From the next connection on."""
        self._context = self._context_of(-LATER if is_expired else LATER)

    def verdict(self) -> str:
        """What a client says of the certificate."""
        context = ssl.create_default_context(cafile=str(self.ca_file))
        try:
            with (
                socket.create_connection(("127.0.0.1", self.port), timeout=5) as plain,
                context.wrap_socket(plain, server_hostname="127.0.0.1"),
            ):
                return "valid"
        except ssl.SSLCertVerificationError as error:
            return error.verify_message

    @contextmanager
    def delivering(self, scene: Scene) -> Iterator[None]:
        """Inside, what is due goes out to the EHR over TLS, as the loop `delivery` does it."""
        settings = EhrSettings(self.url, ca_file=str(self.ca_file), connect_timeout=1.0, read_timeout=PATIENCE)
        kind, cipher, is_over = load().writes["ehr_chart"], scene.cipher, threading.Event()

        def work() -> None:
            while not is_over.is_set():
                ehr = Ehr(settings)  # anew, as runs do: an open connection would outlive the certificate
                with suppress(Exception):  # as a turn that failed: the next one does what is left
                    outbox.deliver_pending(scene.connect, ehr, kind, cipher.open, deadline=5.0)
                ehr.close()
                time.sleep(0.2)

        thread = threading.Thread(target=work, name="delivery over TLS")
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join(30)

    def _context_of(self, valid_for: timedelta) -> ssl.SSLContext:
        key, path = ec.generate_private_key(ec.SECP256R1()), self._folder / "server.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + _certificate("127.0.0.1", key, self._key, valid_for)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context

    def _accept(self) -> None:
        while not self._is_over.is_set():
            try:
                plain, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        with suppress(OSError), plain:  # a client that refuses the certificate ends it here
            secret = self._context.wrap_socket(plain, server_side=True)
            with secret, socket.create_connection(self._there, timeout=30) as there:
                back = threading.Thread(target=_pass_on, args=(there, secret), daemon=True)
                back.start()
                _pass_on(secret, there)
                back.join(30)


def _pass_on(one: socket.socket, other: socket.socket) -> None:
    with suppress(OSError):
        while piece := one.recv(65536):
            other.sendall(piece)
    with suppress(OSError):
        other.shutdown(socket.SHUT_WR)


def _certificate(
    name: str, key: ec.EllipticCurvePrivateKey, signer: ec.EllipticCurvePrivateKey, valid_for: timedelta
) -> bytes:
    is_authority, now = key is signer, datetime.now(UTC)
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "A drill's authority")])
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 3 * LATER)
        .not_valid_after(now + valid_for)
        .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
        # Python 3.13 believes no chain that leaves these out (RFC 5280).
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .add_extension(_usage(is_authority), critical=True)
    )
    if not is_authority:
        made = made.add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(name))]), critical=False)
    return made.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _usage(is_authority: bool) -> x509.KeyUsage:
    """An authority signs certificates, a server its handshake."""
    return x509.KeyUsage(
        digital_signature=not is_authority, key_cert_sign=is_authority, crl_sign=False, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
