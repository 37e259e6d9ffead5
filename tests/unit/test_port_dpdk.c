/* SPDX-License-Identifier: BSD-3-Clause */
/* What is said of a NIC on PCI before DPDK is asked, over a sysfs of files of our own. */
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "dataplane/port/dpdk.h"

#define NIC   "0000:03:00.0"
#define OTHER "0000:03:00.1"

static char root[64], err[PORT_ERROR_MAX];

static void make(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* A directory below root with all that leads to it. */
static void make(const char *fmt, ...)
{
    char path[PATH_MAX];
    va_list args;
    int n = snprintf(path, sizeof(path), "%s/", root);
    va_start(args, fmt);
    vsnprintf(path + n, sizeof(path) - (size_t)n, fmt, args);
    va_end(args);
    for (char *c = path + n; *c != '\0'; c++)
        if (*c == '/') {
            *c = '\0';
            mkdir(path, 0700);
            *c = '/';
        }
    assert_true(mkdir(path, 0700) == 0 || errno == EEXIST);
}

static void point(const char *device, const char *name, const char *target)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/sys/bus/pci/devices/%s/%s", root, device, name);
    unlink(path);
    if (target != NULL)
        assert_int_equal(symlink(target, path), 0);
}

static void device(const char *address, const char *class, const char *driver, const char *group)
{
    char path[PATH_MAX];
    make("sys/bus/pci/devices/%s", address);
    snprintf(path, sizeof(path), "%s/sys/bus/pci/devices/%s/class", root, address);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f, "%s\n", class);
    fclose(f);
    point(address, "driver", driver);
    point(address, "iommu_group", group);
    if (group != NULL)
        make("sys/kernel/iommu_groups/7/devices/%s", address);
}

static int check(const char *address)
{
    char sys[80], dev[80];
    snprintf(sys, sizeof(sys), "%s/sys", root);
    snprintf(dev, sizeof(dev), "%s/dev", root);
    err[0] = '\0';
    return dpdk_pci_check(sys, dev, address, err);
}

static void group_file(bool there)
{
    char path[96];
    make("dev/vfio");
    snprintf(path, sizeof(path), "%s/dev/vfio/7", root);
    unlink(path);
    FILE *f = there ? fopen(path, "w") : NULL;
    assert_true(!there || f != NULL);
    if (f != NULL)
        fclose(f);
}

static int begin(void **state)
{
    (void)state;
    snprintf(root, sizeof(root), "/tmp/pando-test-pci-XXXXXX");
    return mkdtemp(root) == NULL;
}

static int end(void **state)
{
    char line[96];
    (void)state;
    snprintf(line, sizeof(line), "rm -r %s", root);
    return system(line);
}

static void test_not_there_or_no_nic(void **state)
{
    (void)state;
    assert_int_equal(check("0000:ff:1f.7"), -ENODEV);
    assert_non_null(strstr(err, "no PCI device 0000:ff:1f.7"));
    device(NIC, "0x010802", "../../nvme", NULL);
    assert_int_equal(check(NIC), -ENODEV);
    assert_non_null(strstr(err, "class is 0x01"));
}

static void test_driver(void **state)
{
    (void)state;
    device(NIC, "0x020000", "../../../drivers/e1000e", "../../groups/7");
    assert_int_equal(check(NIC), -EBUSY);
    assert_non_null(strstr(err, "driver e1000e,"));
    make("sys/bus/pci/devices/%s/net/enp3s0", NIC);
    assert_int_equal(check(NIC), -EBUSY);
    assert_non_null(strstr(err, "is interface enp3s0"));
    assert_non_null(strstr(err, "--bind=vfio-pci " NIC));
    point(NIC, "driver", NULL);
    assert_int_equal(check(NIC), -EBUSY);
    assert_non_null(strstr(err, "no driver"));
    point(NIC, "driver", "../../drivers/mlx5_core"); /* shares it: no group, no vfio */
    point(NIC, "iommu_group", NULL);
    assert_int_equal(check(NIC), 0);
}

static void test_group(void **state)
{
    (void)state;
    device(NIC, "0x020000", "../../drivers/vfio-pci", NULL);
    assert_int_equal(check(NIC), -EPERM);
    assert_non_null(strstr(err, "IOMMU"));
    device(NIC, "0x020000", "../../drivers/vfio-pci", "../../groups/7");
    group_file(false);
    assert_int_equal(check(NIC), -ENOENT);
    assert_non_null(strstr(err, "vfio/7"));
    group_file(true);
    assert_int_equal(check(NIC), 0);
    device(OTHER, "0x020000", "../../drivers/e1000e", "../../groups/7");
    assert_int_equal(check(NIC), -EBUSY);
    assert_non_null(strstr(err, "with " OTHER));
    device(OTHER, "0x060400", "../../drivers/pcieport", "../../groups/7"); /* a bridge may stay */
    assert_int_equal(check(NIC), 0);
    device(OTHER, "0x020000", NULL, "../../groups/7");
    assert_int_equal(check(NIC), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_not_there_or_no_nic, begin, end),
        cmocka_unit_test_setup_teardown(test_driver, begin, end),
        cmocka_unit_test_setup_teardown(test_group, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
