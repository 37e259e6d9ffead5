/* SPDX-License-Identifier: BSD-3-Clause */
/* What pando run makes of a command line of QEMU. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "hypervisor-glue/run/compose.h"

#define LEN(a) (sizeof(a) / sizeof((a)[0]))
#define FLAGS                                                                                      \
    "kvm-asyncpf=off,kvm-asyncpf-int=off,kvm-steal-time=off,kvm-pv-eoi=off,kvm-pv-unhalt=off,"     \
    "kvm-pv-tlb-flush=off,kvm-pv-ipi=off,kvm-poll-control=off,kvm-pv-sched-yield=off,"             \
    "kvm-msi-ext-dest-id=off,+invtsc"
#define RAM   "-object memory-backend-memfd,id=pando-ram,size=512M,share=on"
#define BOARD "kernel_irqchip=split,smm=off,hpet=off"
#define SMP   "-smp cpus=4,sockets=2,cores=2,threads=1"

static struct compose c; /* large */
static char joined[1 << 16];

/* Two nodes with two vCPUs and 256 MiB each. */
static struct pando_config two_nodes(enum config_home homes)
{
    struct pando_config cfg = {.node_count = 2};
    cfg.vm.ram_pages = UINT64_C(512) << 8;
    cfg.vm.vcpus = 4;
    cfg.vm.vcpu_home[2] = cfg.vm.vcpu_home[3] = 1;
    cfg.vm.homes = homes;
    for (uint8_t n = 0; n < 2; n++) {
        cfg.node[n].id = n;
        strcpy(cfg.node[n].name, n == 0 ? "left" : "right");
        cfg.node[n].range_pages = homes == CONFIG_HOME_RANGE ? UINT64_C(256) << 8 : 0;
    }
    return cfg;
}

/* Composes "qemu WORD WORD ...". */
static int run_on(const struct pando_config *cfg, const char *words)
{
    static char text[1 << 16];
    const char *argv[256] = {"qemu"};
    unsigned argc = 1;
    char *save;
    snprintf(text, sizeof(text), "%s", words);
    for (char *w = strtok_r(text, " ", &save); w != NULL; w = strtok_r(NULL, " ", &save))
        argv[argc++] = w;
    int rc = compose(&c, argv, argc, cfg);
    joined[0] = '\0';
    for (unsigned i = 0; rc == 0 && i < c.argc; i++)
        snprintf(joined + strlen(joined), sizeof(joined) - strlen(joined), "%s%s", i ? " " : "",
                 c.argv[i]);
    return rc;
}

static int run(const char *words)
{
    struct pando_config cfg = two_nodes(CONFIG_HOME_INTERLEAVE);
    return run_on(&cfg, words);
}

static void expect_on(const struct pando_config *cfg, const char *words, const char *part)
{
    if (run_on(cfg, words) != 0)
        fail_msg("'%s' is refused: %s", words, c.refusal[0]);
    if (strstr(joined, part) == NULL)
        fail_msg("'%s' became '%s', without '%s'", words, joined, part);
}

static void expect(const char *words, const char *part)
{
    struct pando_config cfg = two_nodes(CONFIG_HOME_INTERLEAVE);
    expect_on(&cfg, words, part);
}

static void expect_not(const char *words, const char *part)
{
    expect(words, "");
    if (strstr(joined, part) != NULL)
        fail_msg("'%s' became '%s', with '%s'", words, joined, part);
}

static bool noted(const char *part)
{
    for (unsigned i = 0; i < c.notes; i++)
        if (strstr(c.note[i], part) != NULL)
            return true;
    return false;
}

/* One refusal: the option as it was written, the reason, a remedy. */
static void refuse_on(const struct pando_config *cfg, const char *words, const char *reason)
{
    int rc = run_on(cfg, words);
    if (rc != -EINVAL || c.refusals != 1)
        fail_msg("'%s': %d, %u refusals: %s", words, rc, c.refusals,
                 c.refusals > 1 ? c.refusal[1] : joined);
    if (strstr(c.refusal[0], reason) == NULL)
        fail_msg("'%s': '%s' does not say '%s'", words, c.refusal[0], reason);
    if (strstr(c.refusal[0], "; remedy: ") == NULL)
        fail_msg("'%s': no remedy in '%s'", words, c.refusal[0]);
}

static void refuse(const char *words, const char *reason)
{
    struct pando_config cfg = two_nodes(CONFIG_HOME_INTERLEAVE);
    refuse_on(&cfg, words, reason);
}

/* ---- whole lines --------------------------------------------------------------------------- */

static void test_line_interleave(void **state)
{
    (void)state;
    assert_int_equal(run(""), 0);
    assert_string_equal(joined, "qemu -m 512M " RAM " -machine type=q35," BOARD
                                ",memory-backend=pando-ram -accel kvm -cpu qemu64," FLAGS " " SMP
                                " -vga none");
    assert_true(noted("-m 512M") && noted("memory-backend-memfd") && noted("q35") &&
                noted("kernel_irqchip=split") && noted("smm=off") && noted("hpet=off") &&
                noted("memory-backend=pando-ram") && noted("-accel kvm") && noted("qemu64") &&
                noted("kvm-steal-time=off") && noted("-smp") && noted("-vga none"));
    assert_int_equal(c.notes, 12);
}

static void test_line_range(void **state)
{
    struct pando_config cfg = two_nodes(CONFIG_HOME_RANGE);
    (void)state;
    assert_int_equal(run_on(&cfg, "-nographic"), 0);
    assert_string_equal(joined, "qemu -nographic -m 512M "
                                "-object memory-backend-memfd,id=pando-ram0,size=256M,share=on "
                                "-object memory-backend-memfd,id=pando-ram1,size=256M,share=on "
                                "-numa node,nodeid=0,cpus=0-1,memdev=pando-ram0 "
                                "-numa node,nodeid=1,cpus=2-3,memdev=pando-ram1 "
                                "-numa dist,src=0,dst=1,val=20 -numa dist,src=1,dst=0,val=20 "
                                "-machine type=q35," BOARD " -accel kvm -cpu qemu64," FLAGS " " SMP
                                " -vga none");
}

static void test_line_microvm(void **state)
{
    struct pando_config cfg = two_nodes(CONFIG_HOME_RANGE);
    (void)state;
    assert_int_equal(run_on(&cfg, "-M microvm,rtc=on -m 512"), 0);
    assert_string_equal(joined,
                        "qemu -M microvm,rtc=on,kernel_irqchip=split,memory-backend=pando-ram "
                        "-m 512 " RAM " -accel kvm -cpu qemu64," FLAGS " " SMP);
}

/* Nothing to add: nothing is said, nothing is changed. */
static void test_line_complete(void **state)
{
    static const char line[] =
        "-machine q35," BOARD ",accel=kvm,memory-backend=mem -m 512M -object "
        "memory-backend-memfd,id=mem,size=512M,share=on -cpu EPYC," FLAGS " -smp 4 -vga none";
    (void)state;
    assert_int_equal(run(line), 0);
    assert_string_equal(joined + strlen("qemu "), line);
    assert_int_equal(c.notes, 0);
}

static void test_untouched(void **state)
{
    static const char *const lines[] = {
        "-nodefaults",
        "-S",
        "-s",
        "-gdb tcp::1",
        "-monitor stdio",
        "-qmp unix:x",
        "-serial stdio",
        "-no-reboot",
        "-snapshot",
        "-no-hpet",
        "-global a.b=c",
        "-display none",
        "-nographic",
        "-enable-kvm",
        "-append -m",
        "-append -daemonize",
        "-kernel -S",
        "-name a,,b",
        "disk.img",
        "-hda disk,,1.img",
        "-cdrom x.iso",
        "-drive file=a,,b,if=virtio",
        "-vnc :1",
        "-unknown x",
        "-unknown --x",
        "-device e1000,netdev=n",
        "-device virtio-net-pci,disable-legacy=on",
        "-device intel-iommu,caching-mode=on,intremap=on",
        "-device tpm-tis,ppi=off,tpmdev=t",
        "-device scsi-hd,drive=d",
        "-device nvme,serial=1,drive=d",
        "-global nvme.serial=1",
        "-global driver=cfi.pflash01,property=secure,value=on",
        "-global tpm-tis.ppi=off",
        "-global tpm-tis.irq=5",
        "-netdev user,id=n",
        "-netdev tap,id=n,vhost=off",
        "-netdev bridge,id=n",
        "-nic none",
        "-net nic",
        "-nic user,model=e1000",
        "-object iothread,id=t",
        "-object rng-random,id=r,filename=/x",
        "-overcommit mem-lock=off",
        "-overcommit cpu-pm=off",
        "-accel kvm",
        "-accel kvm,thread=x",
        "-accel kvm,kernel-irqchip=split",
        "-sandbox on,elevateprivileges=deny,spawn=deny",
        "-incoming defer",
        "-loadvm x",
        "-pidfile x",
        "-drive file=a,cache=writethrough",
        "-drive file=a,cache=unsafe",
        "-drive file=a,aio=threads",
        "-blockdev file,filename=a,node-name=b",
        "-blockdev driver=qcow2,file=b,node-name=c,cache.direct=off",
        "-",
        "-run-with async-teardown=on",
    };
    char part[128];
    (void)state;
    for (size_t i = 0; i < LEN(lines); i++) {
        snprintf(part, sizeof(part), "qemu %s -m 512M", lines[i]);
        expect(lines[i], part);
    }
    expect("--cpu kvm64 --machine pc", "qemu --cpu kvm64,kvm-asyncpf=off");
    assert_int_equal(run("-incoming defer"), 0);
    assert_true(noted("-incoming defer"));
}

/* ---- what is refused ----------------------------------------------------------------------- */

/* clang-format off */
static const struct {
    const char *words, *reason;
} refused_rows[] = {
    {"-machine isapc", "'isapc'"},
    {"-machine none", "'none'"},
    {"-M type=xenfv", "'xenfv'"},
    {"-M pc-isa", "'pc-isa'"},
    {"--machine virt", "--machine virt: "},
    {"-machine q35,kernel_irqchip=off", "kernel_irqchip=off: the interrupt controllers"},
    {"-machine q35,kernel-irqchip=on", "kernel_irqchip=on"},
    {"-machine kernel_irqchip", "kernel_irqchip"},
    {"-machine q35,smm=on", "smm=on: SMM"},
    {"-machine q35,smm=auto", "smm=auto"},
    {"-machine hpet=on", "hpet=on: "},
    {"-machine q35,accel=tcg", "'tcg'"},
    {"-machine q35,accel=kvm:tcg", "'kvm:tcg'"},
    {"-machine q35,memory-encryption=sev0", "encrypted"},
    {"-machine q35,confidential-guest-support=t", "encrypted"},
    {"-machine q35,nvdimm=on", "nvdimm"},
    {"-machine q35,sgx-epc.0.memdev=m", "enclave"},
    {"-machine q35,smp.cpus=4", "smp.cpus"},
    {"-machine q35,memory.size=1G", "memory.size"},
    {"-machine q35 -machine smm=on", "-machine smm=on: "},
    {"-accel tcg", "-accel tcg: accelerator 'tcg'"},
    {"-accel xen", "'xen'"},
    {"-accel kvm,kernel-irqchip=off", "kernel_irqchip=off"},
    {"-accel kvm,dirty-ring-size=4096", "dirty-ring-size=4096"},
    {"-accel kvm -accel tcg", "-accel tcg: "},
    {"-m 512M,slots=2", "slots and maxmem"},
    {"-m 512M,maxmem=1G", "slots and maxmem"},
    {"-m 0", "'0' is not a size"},
    {"-m 1.5G", "'1.5G' is not a size"},
    {"-m 4K", "'4K' is not a size"},
    {"-m many", "'many'"},
    {"-m 513", "513 MiB is more than vm.ram_mib, 512"},
    {"-m size=1G", "1024 MiB is more than vm.ram_mib, 512"},
    {"-m", "its value is missing"},
    {"-mem-path /dev/hugepages", "-mem-path /dev/hugepages: "},
    {"-mem-prealloc", "every page"},
    {"-overcommit mem-lock=on", "mem-lock"},
    {"-overcommit mem-lock=on-fault", "mem-lock"},
    {"-overcommit mem-lock", "mem-lock"},
    {"-overcommit cpu-pm=on", "cpu-pm=on"},
    {"-object memory-backend-ram,id=m,size=512M", "memory-backend-ram cannot"},
    {"-object memory-backend-file,id=m,size=512M,mem-path=/x,share=on", "memory-backend-file"},
    {"-object memory-backend-epc,id=m,size=512M", "memory-backend-epc"},
    {"-object memory-backend-memfd,id=m,size=512M", "private memory"},
    {"-object memory-backend-memfd,id=m,size=512M,share=off", "private memory"},
    {"-object memory-backend-memfd,id=m,size=512M,share=on,hugetlb=on", "4 KiB"},
    {"-object memory-backend-memfd,id=m,size=512M,share=on,hugetlbsize=2M", "4 KiB"},
    {"-object memory-backend-memfd,id=m,size=512M,share=on,prealloc=on", "every page"},
    {"-object memory-backend-memfd,id=m,share=on", "size ''"},
    {"-object memory-backend-memfd,id=m,share=on,size=512", "size '512'"},
    {"-object memory-backend-memfd,id=pando-ram,share=on,size=512M", "pando run gives"},
    {"-object sev-guest,id=s", "encrypted"},
    {"-object tdx-guest,id=s", "encrypted"},
    {"-object cryptodev-vhost-user,id=c", "another process"},
    {"-object x-remote-object,id=c", "another process"},
    {"-object {\"qom-type\":\"iothread\"}", "JSON"},
    {"-machine memory-backend=m", "no memory backend of this id"},
    {"-numa node,mem=256M -numa node,mem=256M,mem=1", "private memory"},
    {"-numa node,cpus=0-3", "no node of this topology"},
    {"-numa dist,src=0,dst=1,val=20", "no node of this topology"},
    {"-numa node,memdev=x", "no memory backend of this id"},
    {"-cpu host", "'host' follows this host"},
    {"-cpu max,+x2apic", "'max'"},
    {"-cpu base", "'base'"},
    {"-cpu host-x86_64-cpu", "'host-x86_64-cpu'"},
    {"-cpu EPYC,kvm-steal-time=on", "kvm-steal-time=on: shares a page"},
    {"-cpu EPYC,+kvm-steal-time", "kvm-steal-time=on"},
    {"-cpu EPYC,kvm-steal-time", "kvm-steal-time=on"},
    {"-cpu EPYC,kvm_pv_eoi=true", "kvm_pv_eoi=true"},
    {"-cpu EPYC,-invtsc", "invtsc=off"},
    {"-cpu EPYC,invtsc=off", "invtsc=off"},
    {"-cpu EPYC,hv-time", "hv-time: Hyper-V"},
    {"-cpu EPYC,+hv-synic", "hv-synic"},
    {"-cpu EPYC,hv_vapic=on", "hv_vapic"},
    {"-cpu help", "exits"},
    {"-cpu ?", "exits"},
    {"-smp 5", "5 vCPUs, but the configuration's vm.vcpus is 4"},
    {"-smp cpus=2", "2 vCPUs"},
    {"-smp sockets=2,cores=3", "6 vCPUs"},
    {"-smp 4,maxcpus=8", "maxcpus=8 is more than vm.vcpus, 4"},
    {"-smp maxcpus=8", "8 vCPUs"},
    {"-smp many", "cpus=many"},
    {"-smp 4,cores=x", "cores=x"},
    {"-vga std", "-vga std: video RAM"},
    {"-vga virtio", "video RAM"},
    {"-device {\"driver\":\"x\"}", "JSON"},
    {"-device virtio-gpu-gl-pci", "video RAM"},
    {"-device driver=vfio-pci,host=1", "vfio-pci: pins"},
    {"-device tpm-tis,tpmdev=t", "physical-presence"},
    {"-device tpm-tis,tpmdev=t,ppi=on", "physical-presence"},
    {"-device nvme,serial=1,pmrdev=m", "persistent memory"},
    {"-global nvme.pmrdev=m", "persistent memory"},
    {"-global tpm-tis.ppi=on", "physical-presence"},
    {"-global driver=tpm-tis,property=ppi,value=on", "physical-presence"},
    {"-global qemu64-x86_64-cpu.hv-relaxed=on", "hv-relaxed of every vCPU"},
    {"-global driver=x86_64-cpu,property=kvm-asyncpf,value=on", "kvm-asyncpf of every vCPU"},
    {"-device help", "exits"},
    {"-device virtio-net-pci,help", "exits"},
    {"-netdev tap,id=n,vhost=on", "vhost=on"},
    {"-netdev tap,id=n,vhostforce=on", "vhostforce=on"},
    {"-netdev tap,id=n,vhostfd=3", "vhostfd=3"},
    {"-netdev vhost-user,id=n,chardev=c", "vhost-user"},
    {"-netdev type=vhost-vdpa,id=n", "vhost-vdpa"},
    {"-netdev af-xdp,id=n,ifname=eth0", "af-xdp: pins"},
    {"-nic tap,vhost=on", "vhost=on"},
    {"-net tap,vhost=on", "vhost=on"},
    {"-nic vhost-user,chardev=c", "vhost-user"},
    {"-drive file=json:{}", "JSON"},
    {"-drive json:{}", "JSON"},
    {"-drive file=nvme://0000:01:00.0/1", "maps all guest RAM"},
    {"-drive if=virtio,format=nvme,device=0000:01:00.0,namespace=1", "driver nvme"},
    {"-drive file.driver=nvme,if=none", "driver nvme"},
    {"-drive if=none,file.filename=json:{}", "JSON"},
    {"-blockdev nvme,node-name=n", "driver nvme"},
    {"-blockdev driver=virtio-blk-vfio-pci,node-name=n", "virtio-blk-vfio-pci"},
    {"-blockdev io_uring,filename=x,node-name=n", "driver io_uring"},
    {"-blockdev {\"driver\":\"file\"}", "JSON"},
    {"-hda json:{}", "JSON"},
    {"-cdrom nvme://x", "nvme"},
    {"json:{}", "json:{}: JSON"},
    {"-daemonize", "watches"},
    {"-readconfig x.cfg", "cannot be checked"},
    {"-set drive.d.cache=none", "behind the check"},
    {"-runas nobody", "/proc/self"},
    {"-chroot /x", "/proc"},
    {"-run-with chroot=/x", "/proc"},
    {"-run-with user=nobody", "/proc"},
    {"-sandbox on,resourcecontrol=deny", "resourcecontrol=deny"},
    {"-icount shift=auto", "instructions"},
    {"-xen-domid 1", "Xen"},
    {"-xen-attach", "Xen"},
    {"-xen-domid-restrict", "Xen"},
    {"-h", "exits"},
    {"--help", "exits"},
    {"-version", "exits"},
    {"-audio-help", "exits"},
    {"-dump-vmstate x", "exits"},
};
/* clang-format on */

static void test_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < LEN(refused_rows); i++) {
        const char *words = refused_rows[i].words;
        if (strncmp(words, "-numa node,mem=", 15) == 0) { /* both of them */
            assert_int_equal(run(words), -EINVAL);
            assert_int_equal(c.refusals, 2);
            continue;
        }
        refuse(words, refused_rows[i].reason);
    }
}

/* By name, for a row that is missing from the table is missing from the next test, too. */
static const char *const refused_drivers[] = {
    "vfio-pci",
    "vhost-user-blk-pci",
    "vhost-vsock-pci",
    "vhost-scsi-pci",
    "virtio-balloon-pci",
    "virtio-balloon-device",
    "virtio-mem-pci",
    "virtio-pmem-pci",
    "pc-dimm",
    "nvdimm",
    "cxl-type3",
    "sgx-epc",
    "ivshmem-plain",
    "ivshmem-doorbell",
    "pvrdma",
    "x-pci-proxy-dev",
    "scsi-block",
    "scsi-generic",
    "VGA",
    "bochs-display",
    "qxl",
    "qxl-vga",
    "virtio-vga",
    "virtio-vga-gl",
    "virtio-gpu-pci",
    "virtio-gpu-device",
    "cirrus-vga",
    "isa-vga",
    "isa-cirrus-vga",
    "ati-vga",
    "vmware-svga",
    "secondary-vga",
    "ramfb",
    "tpm-crb",
    "xen-platform",
    "qemu64-x86_64-cpu",
};

static void test_refused_drivers(void **state)
{
    char words[64];
    (void)state;
    for (size_t i = 0; i < LEN(refused_drivers); i++) {
        snprintf(words, sizeof(words), "-device %s", refused_drivers[i]);
        refuse(words, refused_drivers[i]);
    }
}

/* Each row of the tables, whatever is added to them. */
static void test_refused_tables(void **state)
{
    char words[128], name[64];
    (void)state;
    for (unsigned i = 0; i < devices_refused_count; i++) {
        const char *pattern = devices_refused[i].pattern, *star = strchr(pattern, '*');
        int before = star ? (int)(star - pattern) : (int)strlen(pattern);
        snprintf(name, sizeof(name), "%.*s%s%s", before, pattern, star ? "x" : "",
                 star ? star + 1 : "");
        snprintf(words, sizeof(words), "-device %s,id=d", name);
        refuse(words, devices_refused[i].reason);
        assert_non_null(strstr(c.refusal[0], name));
    }
    for (unsigned i = 0; i < cpu_flags_count; i++) {
        const struct cpu_flag *f = &cpu_flags[i];
        snprintf(words, sizeof(words), "-cpu EPYC,%s%s", f->on ? "-" : "+", f->name);
        refuse(words, f->reason);
        snprintf(words, sizeof(words), "-cpu EPYC,%s=%s", f->name, f->on ? "on" : "off");
        expect(words, words);
        snprintf(name, sizeof(name), "%s", f->name);
        assert_null(strstr(strstr(joined, name) + 1, f->on ? "+invtsc" : strcat(name, "=")));
    }
}

static void test_every_refusal_is_said(void **state)
{
    (void)state;
    assert_int_equal(run("-daemonize -cpu host,+kvm-pv-eoi -m 1G -device vfio-pci -vga std"),
                     -EINVAL);
    assert_int_equal(c.refusals, 6);
    assert_int_equal(c.argc, 0);
}

/* ---- families ------------------------------------------------------------------------------ */

static void test_machine(void **state)
{
    (void)state;
    expect("-machine pc", "-machine pc," BOARD ",memory-backend=pando-ram");
    expect("-M pc-q35-7.2,usb=on", "-M pc-q35-7.2,usb=on," BOARD);
    expect("-M pc-i440fx-7.2", "-M pc-i440fx-7.2," BOARD);
    expect("-machine usb=on", "-machine usb=on,type=q35," BOARD);
    expect("-machine q35,smm=off", "-machine q35,smm=off,kernel_irqchip=split,hpet=off");
    expect("-machine q35 -machine hpet=off",
           "-machine q35 -machine hpet=off,kernel_irqchip=split,smm=off,memory-backend=pando-ram");
    expect("-machine q35,kernel-irqchip=split,hpet=no",
           "-machine q35,kernel-irqchip=split,hpet=no,smm=off");
    expect_not("-machine q35,accel=kvm", "-accel");
    expect_not("-enable-kvm", "-accel");
    expect_not("-accel kvm -machine q35", "-accel kvm -cpu");
    expect_not("-M microvm", "smm");
    expect_not("-M microvm", "-vga");
    expect("-M microvm,x-option-roms=off,pit=off", "-M microvm,x-option-roms=off,pit=off,kernel_");
}

static void test_memory(void **state)
{
    (void)state;
    expect("-m 256", "id=pando-ram,size=256M");
    expect_not("-m 256", "-m 512M");
    expect("-m size=256M", "id=pando-ram,size=256M");
    expect("-m 128 -m 256", "id=pando-ram,size=256M"); /* the last one counts */
#define OWN "-object memory-backend-memfd,id=mine,size=256M,share=on"
    expect(OWN " -machine q35,memory-backend=mine", "-m 256M");
    expect_not(OWN " -machine q35,memory-backend=mine", "pando-ram");
    expect_not(OWN " -machine q35,memory-backend=mine", "-numa");
    expect(OWN, "id=pando-ram,size=512M"); /* for something else */
    refuse(OWN " -machine q35,memory-backend=mine -m 512",
           "-m 512: the memory backends have 256 MiB, -m 512 MiB");
    refuse("-object memory-backend-memfd,id=mine,size=1G,share=on -machine memory-backend=mine",
           "1024 MiB is more than vm.ram_mib, 512");
    refuse("-object memory-backend-memfd,id=m,size=1G -machine memory-backend=m", "private");
}

static void test_memory_range(void **state)
{
    struct pando_config cfg = two_nodes(CONFIG_HOME_RANGE);
    (void)state;
    refuse_on(&cfg, "-m 256",
              "256 MiB, but with vm.homes: range the nodes' range_mib add up to 512");
    refuse_on(&cfg, "-m 1G", "1024 MiB is more than vm.ram_mib, 512");
    cfg.node[0].range_pages = 0; /* vCPUs without memory */
    cfg.node[1].range_pages = UINT64_C(512) << 8;
    expect_on(&cfg, "",
              "-object memory-backend-memfd,id=pando-ram1,size=512M,share=on -numa "
              "node,nodeid=0,cpus=0-1 -numa node,nodeid=1,cpus=2-3,memdev=pando-ram1");
    assert_null(strstr(joined, "pando-ram0"));
    cfg.node[0].range_pages = UINT64_C(100) << 8;
    cfg.node[1].range_pages = UINT64_C(412) << 8;
    expect_on(&cfg, "-m 512M", "id=pando-ram0,size=100M");
    expect_on(&cfg, "-m 512M", "id=pando-ram1,size=412M");
    cfg.node_count = 1; /* one node: nothing to tell apart */
    cfg.node[0].range_pages = UINT64_C(512) << 8;
    memset(cfg.vm.vcpu_home, 0, sizeof(cfg.vm.vcpu_home));
    expect_on(&cfg, "", RAM);
    assert_null(strstr(joined, "-numa"));
    expect_on(&cfg, "", "-smp cpus=4 ");
}

static void test_numa(void **state)
{
    struct pando_config cfg = two_nodes(CONFIG_HOME_RANGE);
    (void)state;
    cfg.node_count = 3; /* the third has neither */
    cfg.vm.vcpu_home[0] = 1, cfg.vm.vcpu_home[1] = 0, cfg.vm.vcpu_home[2] = 1;
    expect_on(&cfg, "",
              "-numa node,nodeid=0,cpus=1,memdev=pando-ram0 "
              "-numa node,nodeid=1,cpus=0,cpus=2-3,memdev=pando-ram1 -numa node,nodeid=2 "
              "-numa dist,src=0,dst=1,val=20 -numa dist,src=0,dst=2,val=20 "
              "-numa dist,src=1,dst=0,val=20 -numa dist,src=1,dst=2,val=20 "
              "-numa dist,src=2,dst=0,val=20 -numa dist,src=2,dst=1,val=20 ");
#define A "-object memory-backend-memfd,id=a,size=256M,share=on "
#define B "-object memory-backend-memfd,id=b,size=256M,share=on "
    static const char own[] = A B "-numa node,memdev=a,cpus=0-1 -numa node,memdev=b,cpus=2-3";
    expect(own, own);
    assert_null(strstr(joined, "pando-ram"));
    expect(own, "-m 512M");
    expect_on(&cfg, own, own);
    assert_null(strstr(joined, "dist"));
    refuse("-m 512 " A "-numa node,memdev=a", "the memory backends have 256 MiB, -m 512 MiB");
    refuse(A "-numa node,memdev=a -numa node,memdev=c", "-numa memdev= c: there is no");
    refuse(A "-object memory-backend-ram,id=b,size=256M -numa node,memdev=a -numa node,memdev=b",
           "memory-backend-ram");
}

static void test_cpu(void **state)
{
    (void)state;
    expect("-cpu EPYC", "-cpu EPYC," FLAGS);
    expect("-cpu EPYC,-x2apic,kvmclock=on", "-cpu EPYC,-x2apic,kvmclock=on," FLAGS);
    expect("-cpu EPYC,kvm=off,hv-time=off", "-cpu EPYC,kvm=off,hv-time=off," FLAGS);
    expect_not("-cpu EPYC,kvm_steal_time=off", "kvm-steal-time");
    expect_not("-cpu EPYC,-kvm-steal-time", "kvm-steal-time=");
    expect_not("-cpu EPYC,+invtsc", "-int=off,invtsc");
    expect_not("", "migratable");                                /* of max and host only */
    expect("-cpu kvm64 -cpu EPYC", "-cpu kvm64 -cpu EPYC,kvm-"); /* the last one counts */
}

static void test_smp(void **state)
{
    struct pando_config cfg = two_nodes(CONFIG_HOME_INTERLEAVE);
    static const char *const fine[] = {"-smp 4", "-smp cpus=4,maxcpus=4", "-smp sockets=2,cores=2",
                                       "-smp 4,sockets=1,dies=1,cores=2,threads=2",
                                       "-smp maxcpus=4"};
    (void)state;
    for (size_t i = 0; i < LEN(fine); i++) {
        expect(fine[i], fine[i]);
        assert_null(strstr(strstr(joined, "-smp") + 1, "-smp"));
    }
    expect("", SMP);
    cfg.vm.vcpu_home[1] = 1; /* 0 1 1 1 */
    expect_on(&cfg, "", "-smp cpus=4 ");
    cfg.vm.vcpu_home[2] = 0; /* 0 1 0 1 */
    expect_on(&cfg, "", "-smp cpus=4 ");
    cfg.vm.vcpu_home[0] = cfg.vm.vcpu_home[1] = 1; /* 1 1 0 0 */
    cfg.vm.vcpu_home[3] = 0;
    expect_on(&cfg, "", SMP);
}

static void test_net(void **state)
{
    (void)state;
    expect("-netdev tap,id=n,ifname=t0", "-netdev tap,id=n,ifname=t0,vhost=off");
    assert_true(noted("vhost=off"));
    expect("-nic tap,model=virtio", "-nic tap,model=virtio,vhost=off");
    expect("-net nic -net tap", "-net nic -net tap,vhost=off");
    expect("-netdev type=tap,id=n", "-netdev type=tap,id=n,vhost=off");
}

static void test_disks(void **state)
{
    static const struct {
        const char *in, *out;
    } rows[] = {
        {"-drive file=a,cache=none", "-drive file=a,cache=writeback"},
        {"-drive a,,b,cache=none", "-drive a,,b,cache=writeback"},
        {"-drive file=a,cache=off", "-drive file=a,cache=writeback"},
        {"-drive file=a,cache=directsync", "-drive file=a,cache=writethrough"},
        {"-drive file=a,cache=none,aio=native", "-drive file=a,cache=writeback,aio=threads"},
        {"-drive file=a,aio=io_uring", "-drive file=a,aio=threads"},
        {"-drive file=a,cache.direct=on", "-drive file=a,cache.direct=off"},
        {"-drive file=a,cache.direct", "-drive file=a,cache.direct=off"},
        {"-drive file.filename=a,file.aio=native,file.cache.direct=true",
         "-drive file.filename=a,file.aio=threads,file.cache.direct=off"},
        {"-drive file=a,cache=none,cache=none", "-drive file=a,cache=writeback,cache=writeback"},
        {"-blockdev file,filename=a,node-name=n,cache.direct=on,aio=native",
         "-blockdev file,filename=a,node-name=n,cache.direct=off,aio=threads"},
        {"-blockdev qcow2,node-name=n,file.driver=file,file.filename=a,file.cache.direct=yes",
         "-blockdev qcow2,node-name=n,file.driver=file,file.filename=a,file.cache.direct=off"},
    };
    (void)state;
    for (size_t i = 0; i < LEN(rows); i++) {
        expect(rows[i].in, rows[i].out);
        assert_true(noted("turned off"));
    }
    assert_int_equal(run("-drive file=a,cache=none,aio=native"), 0);
    assert_true(noted("turned off cache=none of -drive, now cache=writeback"));
    assert_true(noted("turned off aio=native of -drive, now aio=threads"));
}

/* ---- limits and reference ------------------------------------------------------------------ */

static void test_too_long(void **state)
{
    struct pando_config cfg = two_nodes(CONFIG_HOME_INTERLEAVE);
    static const char *argv[COMPOSE_OPTIONS_MAX + 1];
    static char large[COMPOSE_TEXT_MAX];
    (void)state;
    argv[0] = "qemu";
    for (size_t i = 1; i < LEN(argv); i++)
        argv[i] = "-S";
    assert_int_equal(compose(&c, argv, LEN(argv), &cfg), -E2BIG);
    assert_int_equal(compose(&c, argv, LEN(argv) - 3, &cfg), -E2BIG); /* no room for ours */
    assert_string_equal(c.refusal[0], "the command line is too long");
    memset(large, 'x', sizeof(large) - 1);
    argv[1] = "-drive";
    argv[2] = large;
    assert_int_equal(compose(&c, argv, 3, &cfg), -E2BIG);
    memset(large, ',', 300);
    for (unsigned i = 1; i < 300; i += 2)
        large[i] = 'a';
    assert_int_equal(compose(&c, argv, 3, &cfg), -E2BIG);
}

static void test_rules_reference(void **state)
{
    FILE *f = tmpfile();
    static char text[1 << 16];
    (void)state;
    compose_print_rules(fileno(f));
    rewind(f);
    text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
    fclose(f);
    static const char *const parts[] = {
        "| `-machine` | q35",   "| `-daemonize` | Refused: pando run",
        "`kvm-steal-time=off`", "`+invtsc`",
        "| `vfio-*` | pins",    "- -vga none on q35"};
    for (size_t i = 0; i < LEN(parts); i++)
        assert_non_null(strstr(text, parts[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_line_interleave),
        cmocka_unit_test(test_line_range),
        cmocka_unit_test(test_line_microvm),
        cmocka_unit_test(test_line_complete),
        cmocka_unit_test(test_untouched),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_refused_drivers),
        cmocka_unit_test(test_refused_tables),
        cmocka_unit_test(test_every_refusal_is_said),
        cmocka_unit_test(test_machine),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_memory_range),
        cmocka_unit_test(test_numa),
        cmocka_unit_test(test_cpu),
        cmocka_unit_test(test_smp),
        cmocka_unit_test(test_net),
        cmocka_unit_test(test_disks),
        cmocka_unit_test(test_too_long),
        cmocka_unit_test(test_rules_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
