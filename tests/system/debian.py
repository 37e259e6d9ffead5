# SPDX-License-Identifier: BSD-3-Clause
"""Debian packages, downloaded and unpacked, never installed."""
import glob
import os
import shutil
import subprocess


class DebianError(Exception):
    """A package is not to be had; the text says why."""


def call(argv, **kwargs):
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=600, **kwargs)
    except (OSError, subprocess.TimeoutExpired) as e:
        raise DebianError(str(e)) from e
    if done.returncode != 0:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no message"]
        raise DebianError(f"{' '.join(argv[:3])} ...: {last[0]}")
    return done.stdout


def unpack(package, directory, prepare=lambda tree: None):
    """A package's files, in a directory that exists only when all of them are there. prepare works
    on the tree before that."""
    if os.path.isdir(directory):
        return directory
    tree = directory + ".new"
    shutil.rmtree(tree, ignore_errors=True)
    os.makedirs(tree)
    call(["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", package], cwd=tree)
    deb = glob.glob(os.path.join(tree, "*.deb"))
    if not deb:
        raise DebianError(f"apt-get downloaded no {package}")
    call(["dpkg-deb", "-x", deb[0], tree])
    os.unlink(deb[0])
    prepare(tree)
    os.rename(tree, directory)
    return directory
