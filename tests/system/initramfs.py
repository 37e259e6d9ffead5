# SPDX-License-Identifier: BSD-3-Clause
"""An initramfs: modules of a kernel in the order in which they load, and the archive."""
import gzip
import lzma
import os
import subprocess


def module_order(base, wanted):
    """Files of the wanted modules and all they need, in an order in which they load."""
    deps, by_name = {}, {}
    with open(os.path.join(base, "modules.dep"), encoding="ascii") as f:
        for line in f:
            path, needs = line.strip().split(":")
            deps[path] = needs.split()
            by_name[os.path.basename(path).split(".")[0].replace("-", "_")] = path
    order = []
    for name in wanted:
        if name not in by_name:
            continue  # built into this kernel
        for path in reversed([by_name[name]] + deps[by_name[name]]):
            if path not in order:
                order.append(path)
    return order


def unpack_module(source, target):
    with open(source, "rb") as f:
        data = f.read()
    data = lzma.decompress(data) if source.endswith(".xz") else data
    with open(target, "wb") as f:
        f.write(data)


def add_modules(tree, kernel, wanted):
    """Puts modules of an unpacked kernel (debian.kernel) into tree/modules, and their order into
    tree/modules/order."""
    os.makedirs(os.path.join(tree, "modules"))
    with open(os.path.join(kernel, "version"), encoding="ascii") as f:
        base = os.path.join(kernel, "lib/modules", f.read())
    with open(os.path.join(tree, "modules/order"), "w", encoding="ascii") as f:
        for path in module_order(base, wanted):
            name = os.path.basename(path).split(".")[0] + ".ko"
            unpack_module(os.path.join(base, path), os.path.join(tree, "modules", name))
            f.write(name + "\n")


def pack(tree, target):
    """A directory as a compressed cpio archive."""
    names = subprocess.run(["find", ".", "-print0"], cwd=tree, capture_output=True, check=True).stdout
    archive = subprocess.run(
        ["cpio", "-0", "-o", "-H", "newc", "--quiet", "-R", "0:0"], cwd=tree, input=names, capture_output=True, check=True
    ).stdout
    with open(target + ".new", "wb") as f:
        f.write(gzip.compress(archive, 1))
    os.rename(target + ".new", target)
