/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Makes the Wireshark dissector, pando.lua: the tables of kinds, layouts and limits from the lists
 * in dataplane/wire, then body.lua, which knows what to do with them.
 *
 * usage: pando-dissector BODY            prints it
 *        pando-dissector BODY MADE       compares it with a file: 0 the same, 1 not
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/wire/fields.h"
#include "dataplane/wire/link.h"

enum {
    ENDPOINT_KIND = 0x40, /* dataplane/endpoint/endpoint.h, which is not built everywhere */
    UDP_PORT = 34997,     /* the default of fabric.udp_port */
    SEGMENTS_MAX = WIRE_MSG_MAX / 512 + 1,
};

static FILE *out;

static void print_limits(void)
{
    const struct {
        const char *name;
        unsigned value;
    } all[] = {
        {"version", WIRE_VERSION},
        {"revision", WIRE_REVISION},
        {"ethertype", WIRE_ETHERTYPE},
        {"udp_port", UDP_PORT},
        {"source_port", LINK_SOURCE_PORT},
        {"nodes_max", WIRE_NODES_MAX},
        {"vcpus_max", WIRE_VCPUS_MAX},
        {"page_size", WIRE_PAGE_SIZE},
        {"bytes_max", WIRE_BYTES_MAX},
        {"msg_header", WIRE_MSG_HEADER},
        {"chan_vm", WIRE_CHAN_VM},
        {"span_stamps", WIRE_SPAN_STAMPS},
        {"span_whats", WIRE_SPAN_WHATS},
        {"span_flags", WIRE_SPAN_FLAGS},
        {"header", WIRE_RRDP_HEADER},
        {"header_part", WIRE_RRDP_HEADER_PART},
        {"header_max", WIRE_RRDP_HEADER_MAX},
        {"crc_offset", WIRE_RRDP_CRC_OFFSET},
        {"data_max", WIRE_RRDP_DATA_MAX},
        {"dst_group", WIRE_DST_GROUP},
        {"group_msg_max", WIRE_GROUP_MSG_MAX},
        {"age_mantissa", WIRE_AGE_MANTISSA},
        {"endpoint_kind", ENDPOINT_KIND},
        {"segments_max", SEGMENTS_MAX},
    };
    fprintf(out, "local WIRE = {\n");
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        fprintf(out, "    %s = %u,\n", all[i].name, all[i].value);
    fprintf(out, "}\n\nlocal CLASSES = {");
    for (unsigned c = 0; c < WIRE_CLASSES; c++)
        fprintf(out, "%s[%u] = \"%s\"", c ? ", " : " ", c, wire_class_name(c));
    fprintf(out, " }\n\n");
}

static void print_kinds(void)
{
    static const char *const payloads[] = {
        [WIRE_NONE] = "none", [WIRE_PAGE] = "page", [WIRE_BYTES] = "bytes"};
    unsigned n;
    const struct wire_family_info *family = wire_families(&n);
    fprintf(out, "local KINDS = {\n");
    for (unsigned k = 0; k < WIRE_KIND_LIMIT; k++) {
        const struct wire_kind_info *info = wire_kind_info((uint8_t)k);
        if (info->name != NULL)
            fprintf(out,
                    "    [0x%02x] = { name = \"%s\", class = %u, payload = \"%s\", "
                    "family = \"%s\" },\n",
                    k, info->name, info->cls, payloads[info->payload], family[info->family].name);
    }
    fprintf(out, "}\n\nlocal FAMILIES = {\n");
    for (unsigned i = 0; i < n; i++) {
        const struct wire_layout *payload = wire_layout(family[i].payload);
        fprintf(out, "    %s = { header = \"%s\"", family[i].name,
                wire_layout(family[i].header)->name);
        if (payload != NULL)
            fprintf(out, ", payload = \"%s\"", payload->name);
        fprintf(out, " },\n");
    }
    fprintf(out, "}\n\n");
}

static void print_layouts(void)
{
    static const char *const shows[] = {
        [WIRE_SHOW_DEC] = "dec",   [WIRE_SHOW_HEX] = "hex",       [WIRE_SHOW_FLAG] = "flag",
        [WIRE_SHOW_KIND] = "kind", [WIRE_SHOW_SIGNED] = "signed", [WIRE_SHOW_CLASS] = "class",
        [WIRE_SHOW_CHAN] = "chan", [WIRE_SHOW_NODES] = "nodes"};
    static const char *const roles[] = {[WIRE_ROLE_MEMBER] = "member",
                                        [WIRE_ROLE_MADE] = "made",
                                        [WIRE_ROLE_RESERVED] = "reserved"};
    fprintf(out, "local LAYOUTS = {\n");
    for (unsigned id = 0; id < WIRE_LAYOUTS; id++) {
        const struct wire_layout *l = wire_layout((enum wire_layout_id)id);
        fprintf(out, "    %s = {\n        stop = %u,\n        fields = {\n", l->name, l->end);
        for (unsigned i = 0; i < l->fields; i++) {
            const struct wire_field *f = &l->field[i];
            fprintf(out,
                    "            { name = \"%s\", at = %u, bits = %u, show = \"%s\", role = "
                    "\"%s\",\n              text = \"%s\" },\n",
                    f->name, f->at, f->bits, shows[f->show], roles[f->role], f->text);
        }
        fprintf(out, "        },\n    },\n");
    }
    fprintf(out, "}\n");
}

static bool copy(const char *path)
{
    char buf[4096];
    size_t n;
    FILE *f = fopen(path, "r");
    if (f == NULL) {
        perror(path);
        return false;
    }
    while ((n = fread(buf, 1, sizeof(buf), f)) > 0)
        fwrite(buf, 1, n, out);
    fclose(f);
    return true;
}

static bool make(const char *body)
{
    fprintf(out,
            "-- SPDX-License-Identifier: BSD-3-Clause\n"
            "-- Wireshark dissector of Pando's frames. Made by build/perf/pando-dissector of the "
            "lists in dataplane/wire and of\n"
            "-- body.lua: change those, and README.md says how to make it again. For Wireshark "
            "4.0 and later.\n\n");
    print_limits();
    print_kinds();
    print_layouts();
    return copy(body);
}

static int compare(const char *made, const char *want, size_t len)
{
    FILE *f = fopen(made, "r");
    if (f == NULL) {
        perror(made);
        return 1;
    }
    size_t line = 1;
    int differs = 0;
    for (size_t i = 0; differs == 0 && i <= len; i++) {
        int c = fgetc(f);
        differs = c != (i < len ? (unsigned char)want[i] : EOF);
        line += c == '\n';
    }
    fclose(f);
    if (differs)
        fprintf(stderr,
                "%s: line %zu is not what the lists in dataplane/wire make: see README.md\n", made,
                line);
    return differs;
}

int main(int argc, char **argv)
{
    char *text = NULL;
    size_t len = 0;
    if (argc != 2 && argc != 3) {
        fprintf(stderr, "usage: pando-dissector BODY [MADE]\n");
        return 2;
    }
    out = argc == 2 ? stdout : open_memstream(&text, &len);
    if (out == NULL || !make(argv[1]))
        return 1;
    if (argc == 2)
        return fflush(stdout) == 0 ? 0 : 1;
    fclose(out);
    int rc = compare(argv[2], text, len);
    free(text);
    return rc;
}
