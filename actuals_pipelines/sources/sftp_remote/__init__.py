"""Files on other people's sFTP servers, which we fetch: host key pinned, own key pair, nothing in clear on our disk."""

from actuals_pipelines.sources.sftp_remote.keys import SftpKeys
from actuals_pipelines.sources.sftp_remote.remote import SftpRemote
from actuals_pipelines.sources.sftp_remote.session import (
    Account,
    HostKeyChanged,
    HostKeyUnknown,
    LoginRefused,
    fingerprint,
    scan,
)

__all__ = [
    "Account",
    "HostKeyChanged",
    "HostKeyUnknown",
    "LoginRefused",
    "SftpKeys",
    "SftpRemote",
    "fingerprint",
    "scan",
]
