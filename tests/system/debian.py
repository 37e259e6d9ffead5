# SPDX-License-Identifier: BSD-3-Clause
"""Debian packages, downloaded and unpacked, never installed."""
import glob
import os
import re
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


MIRROR = "http://deb.debian.org/debian"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
APT_GET = ["apt-get", "-q", "-o", "APT::Sandbox::User=root"]


def download(packages, directory):
    """The packages' .deb files."""
    call(APT_GET + ["download", *packages], cwd=directory)
    return sorted(glob.glob(os.path.join(directory, "*.deb")))


def suite_options(suites, state):
    """apt-get's options for other suites of Debian, with lists of its own, signed as ever, and as if
    nothing were installed. The last suite is preferred."""
    for name in ("lists", "archives"):
        os.makedirs(os.path.join(state, name, "partial"), exist_ok=True)
    with open(os.path.join(state, "sources.list"), "w", encoding="ascii") as f:
        f.writelines(f"deb [signed-by={KEYRING}] {MIRROR} {suite} main\n" for suite in suites)
    open(os.path.join(state, "status"), "w", encoding="ascii").close()
    settings = {
        "Dir::Etc::sourcelist": os.path.join(state, "sources.list"),
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State::lists": os.path.join(state, "lists"),
        "Dir::State::status": os.path.join(state, "status"),
        "Dir::Cache::archives": os.path.join(state, "archives"),
        "Dir::Cache::pkgcache": "",
        "Dir::Cache::srcpkgcache": "",
        "APT::Default-Release": suites[-1],
    }
    return [word for item in settings.items() for word in ("-o", "=".join(item))]


def unpack_from(suites, package, directory):
    """A package of other suites and all that it depends on, the C library too, in one directory, which
    exists only when it is complete. Run its programs with its own loader: run_unpacked()."""
    if os.path.isdir(directory):
        return directory
    tree, state = directory + ".new", directory + ".apt"
    for name in (tree, state):
        shutil.rmtree(name, ignore_errors=True)
        os.makedirs(name)
    try:
        options = suite_options(suites, state)
        call(APT_GET + options + ["update"])
        call(APT_GET + options + ["-y", "--no-install-recommends", "--download-only", "install", package])
        for deb in glob.glob(os.path.join(state, "archives/*.deb")):
            call(["dpkg-deb", "-x", deb, tree])
    finally:
        shutil.rmtree(state)
    os.rename(tree, directory)
    return directory


def run_unpacked(tree, program):
    """The first words of a command line that runs a program of unpack_from() on its own libraries."""
    libraries = os.path.join(tree, "usr/lib/x86_64-linux-gnu")
    loader = os.path.join(tree, "usr/lib64/ld-linux-x86-64.so.2")
    return [loader, "--library-path", libraries, os.path.join(tree, "usr/bin", program)]


def unpack(package, directory, prepare=lambda tree: None):
    """A package's files, in a directory that exists only when all of them are there. prepare works
    on the tree before that."""
    if os.path.isdir(directory):
        return directory
    tree = directory + ".new"
    shutil.rmtree(tree, ignore_errors=True)
    os.makedirs(tree)
    deb = download([package], tree)
    if not deb:
        raise DebianError(f"apt-get downloaded no {package}")
    call(["dpkg-deb", "-x", deb[0], tree])
    os.unlink(deb[0])
    prepare(tree)
    os.rename(tree, directory)
    return directory


def unpack_all(packages, directory):
    """Several packages, each in a directory of its own below this one; downloaded together, since
    every run of apt reads the lists anew."""
    wanted = [p for p in packages if not os.path.isdir(os.path.join(directory, p))]
    scratch = os.path.join(directory, "new")
    shutil.rmtree(scratch, ignore_errors=True)
    os.makedirs(scratch)
    for deb in download(wanted, scratch) if wanted else []:
        name = os.path.basename(deb).split("_")[0]
        call(["dpkg-deb", "-x", deb, os.path.join(scratch, name)])
        os.rename(os.path.join(scratch, name), os.path.join(directory, name))
    shutil.rmtree(scratch)
    for p in wanted:
        if not os.path.isdir(os.path.join(directory, p)):
            raise DebianError(f"apt-get downloaded no {p}")
    return {p: os.path.join(directory, p) for p in packages}


def depends(*packages):
    """Names of the packages that these need, the first of alternatives."""
    out = call(["apt-cache", "depends", "--no-recommends", "--no-suggests", *packages])
    names, alternative = [], False
    for more, name in re.findall(r"^ ([ |])Depends: (\S+)", out, re.M):
        if not alternative and not name.startswith("<") and name not in names:
            names.append(name)
        alternative = more == "|"
    return names


def real_package(meta):
    """The package behind a kernel's meta-package: names carry versions and change."""
    for name in depends(meta):
        if name.startswith("linux-image-"):
            return name
    raise DebianError(f"package {meta} depends on no kernel; is the list of packages there (apt-get update)?")


def prepare_kernel(tree):
    version = os.listdir(os.path.join(tree, "lib/modules"))[0]
    call(["/sbin/depmod", "-b", tree, version])
    os.rename(os.path.join(tree, f"boot/vmlinuz-{version}"), os.path.join(tree, "vmlinuz"))
    with open(os.path.join(tree, "version"), "w", encoding="ascii") as f:
        f.write(version)


def kernel(meta, directory, say=print):
    """The kernel of a meta-package, unpacked: its version is in the file version, its image in
    vmlinuz, and modules.dep is there."""
    if os.path.isdir(directory):
        return directory
    package = real_package(meta)
    say(f"fetching {package}")
    return unpack(package, directory, prepare_kernel)
