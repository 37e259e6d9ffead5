/* SPDX-License-Identifier: BSD-3-Clause */
#include "hypervisor-glue/link/ram_source.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "dataplane/memory/uffd.h"
#include "hypervisor-glue/link/raw.h"

struct vma {
    uint64_t start, end, offset, inode;
    unsigned major, minor;
    char prot[5];
    char name[80];
};

static int find_vma(uint64_t address, struct vma *ret)
{
    char *line = NULL;
    size_t size = 0;
    int rc = -ENOENT;
    FILE *f = fopen("/proc/self/maps", "re");
    if (f == NULL)
        return -errno;
    while (rc == -ENOENT && getline(&line, &size, f) > 0) {
        struct vma v = {0};
        unsigned long long start, end, offset, inode;
        if (sscanf(line, "%llx-%llx %4s %llx %x:%x %llu %79[^\n]", &start, &end, v.prot, &offset,
                   &v.major, &v.minor, &inode, v.name) < 7 ||
            address < start || address >= end)
            continue;
        v.start = start;
        v.end = end;
        v.offset = offset;
        v.inode = inode;
        *ret = v;
        rc = 0;
    }
    free(line);
    fclose(f);
    return rc;
}

/* The VMM's own descriptor of the file behind the mapping, duplicated. */
static int find_fd(const struct vma *v)
{
    int found = -ENOENT;
    DIR *d = opendir("/proc/self/fd");
    if (d == NULL)
        return -errno;
    for (struct dirent *e = readdir(d); e != NULL && found < 0; e = readdir(d)) {
        struct stat st;
        int fd = atoi(e->d_name);
        if (e->d_name[0] == '.' || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
            continue;
        int flags = fcntl(fd, F_GETFL);
        if (st.st_ino == v->inode && major(st.st_dev) == v->major && minor(st.st_dev) == v->minor &&
            (flags & O_ACCMODE) == O_RDWR)
            found = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    }
    closedir(d);
    if (found >= 0)
        return found;
    char path[80];
    snprintf(path, sizeof(path), "/proc/self/map_files/%llx-%llx", (unsigned long long)v->start,
             (unsigned long long)v->end);
    found = open(path, O_RDWR | O_CLOEXEC);
    return found >= 0 ? found : -errno;
}

int ram_source_find(const void *address, struct ram_source *ret, char err[LINK_ERROR_MAX])
{
    struct vma v;
    int rc = find_vma((uint64_t)(uintptr_t)address, &v);
    if (rc != 0) {
        snprintf(err, LINK_ERROR_MAX, "nothing is mapped at %p", address);
        return rc;
    }
    struct ram_source s = {(uint8_t *)(uintptr_t)v.start, v.end - v.start, v.offset, false, -1};
    if (v.prot[3] != 's' || v.inode == 0) {
        *ret = s;
        return 0;
    }
    s.fd = find_fd(&v);
    if (s.fd < 0) {
        snprintf(err, LINK_ERROR_MAX, "the file behind %p (%s) cannot be opened: %s", address,
                 v.name, strerror(-s.fd));
        return s.fd;
    }
    s.shared_file = true;
    *ret = s;
    return 0;
}

struct extent {
    struct extent *next;
    uint64_t offset, len;
    uint8_t bytes[];
};

static void free_extents(struct extent *e)
{
    while (e != NULL) {
        struct extent *next = e->next;
        free(e);
        e = next;
    }
}

static int save_extents(const struct ram_source *s, struct extent **ret)
{
    struct extent *list = NULL;
    off_t at = lseek(s->fd, 0, SEEK_DATA);
    while (at >= 0 && (uint64_t)at < s->size) {
        off_t end = lseek(s->fd, at, SEEK_HOLE);
        if (end < 0 || (uint64_t)end > s->size)
            end = (off_t)s->size;
        uint64_t first = (uint64_t)at & ~UINT64_C(4095), len = (uint64_t)end - first;
        struct extent *e = malloc(sizeof(*e) + len);
        if (e == NULL) {
            free_extents(list);
            return -ENOMEM;
        }
        *e = (struct extent){list, first, len};
        memcpy(e->bytes, s->start + first, len);
        list = e;
        at = lseek(s->fd, end, SEEK_DATA);
    }
    *ret = list;
    return 0;
}

static bool is_zero(const uint8_t *p, uint64_t len)
{
    return len == 0 || (p[0] == 0 && memcmp(p, p + 1, len - 1) == 0);
}

static void write_back(const struct ram_source *s, const struct extent *list)
{
    for (const struct extent *e = list; e != NULL; e = e->next)
        for (uint64_t at = 0; at < e->len; at += WIRE_PAGE_SIZE) {
            uint64_t n = e->len - at < WIRE_PAGE_SIZE ? e->len - at : WIRE_PAGE_SIZE;
            if (!is_zero(e->bytes + at, n))
                memcpy(s->start + e->offset + at, e->bytes + at, n);
        }
}

int ram_source_hand_over(struct link *l, const struct ram_source *s, char err[LINK_ERROR_MAX])
{
    struct extent *saved = NULL;
    struct stat st;
    if (fstat(s->fd, &st) != 0 || s->offset != 0 || s->size != (uint64_t)st.st_size ||
        s->size % WIRE_PAGE_SIZE != 0) {
        snprintf(err, LINK_ERROR_MAX,
                 "guest RAM at %p is a part of a file (%llu of %llu bytes at %llu): one memfd per "
                 "RAM block, mapped whole",
                 (void *)s->start, (unsigned long long)s->size, (unsigned long long)st.st_size,
                 (unsigned long long)s->offset);
        return -EINVAL;
    }
    int rc = save_extents(s, &saved);
    if (rc == 0 &&
        fallocate(s->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)s->size) != 0)
        rc = -errno;
    if (rc != 0) {
        snprintf(err, LINK_ERROR_MAX, "guest RAM at %p cannot be set aside: %s", (void *)s->start,
                 strerror(-rc));
        free_extents(saved);
        return rc;
    }
    int uffd = -1;
    char why[UFFD_ERROR_MAX];
    rc = uffd_open_register(s->start, s->size, &uffd, why);
    if (rc != 0)
        snprintf(err, LINK_ERROR_MAX, "%s", why);
    else
        rc = link_ram(l, s->start, s->size / WIRE_PAGE_SIZE, s->fd, uffd, err);
    if (rc == 0)
        write_back(s, saved);
    free_extents(saved);
    return rc;
}
