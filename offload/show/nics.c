/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <string.h>

#include "offload/nic/nic.h"
#include "offload/show/show.h"

static const struct argp_option option_list[] = {
    {"json", 'j', NULL, 0, "The same as JSON", 0},
    {0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    (void)arg;
    if (key != 'j')
        return ARGP_ERR_UNKNOWN;
    *(bool *)state->input = true;
    return 0;
}

static const struct argp argp = {
    .options = option_list,
    .parser = parse,
    .doc = "What each family of NICs takes, by its driver's documentation and source. A running "
           "dataplane tries all of it and keeps what the device accepts (pando offload show).",
};

/* Names of the set bits. */
typedef const char *name_of(unsigned bit);

static const char *field(unsigned bit)
{
    return rule_field_name((enum rule_field)bit);
}

static const char *action(unsigned bit)
{
    return rule_action_name((enum rule_action)bit);
}

static const char *kind(unsigned bit)
{
    return link_kind_name((enum link_kind)bit);
}

static void print_set(const char *head, uint32_t set, name_of *name)
{
    const char *separator = head;
    for (; set != 0; set &= set - 1) {
        printf("%s%s", separator, name((unsigned)__builtin_ctz(set)));
        separator = ", ";
    }
}

static void print_shape(const struct nic_template *t)
{
    printf("  %s", t->name);
    print_set(", ", t->kinds, kind);
    if (t->capacity != NIC_RULES_UNKNOWN)
        printf(", %u rules", t->capacity);
    print_set("\n    matches always: ", t->must, field);
    print_set("\n    may match:      ", t->may & ~t->must, field);
    print_set("\n    then:           ", t->fates, action);
    print_set("\n    and with it:    ", t->with, action);
    printf("\n    read in:        %s\n", t->source);
}

static void print_nic(const struct nic *nic)
{
    printf("%s: %s\n", nic->name, nic->title);
    if (nic->drivers[0] != '\0')
        printf("  driver %s, %u receive queues%s%s%s\n", nic->drivers, nic->queues,
               nic->templates == 0 ? ", no rules"
               : nic->priorities   ? ", rules have priorities"
                                   : ", rules without priorities",
               nic->mac_filter ? ", group address filter" : "",
               nic->checksum ? ", IPv4 checksum" : "");
    for (uint32_t i = 0; i < nic->templates; i++)
        print_shape(&nic->shape[i]);
    if (nic->notes[0] != '\0')
        printf("  note: %s\n", nic->notes);
    if (nic->source[0] != '\0')
        printf("  read in: %s\n", nic->source);
}

static json_t *set_json(uint32_t set, name_of *name)
{
    json_t *all = json_array();
    for (; set != 0; set &= set - 1)
        json_array_append_new(all, json_string(name((unsigned)__builtin_ctz(set))));
    return all;
}

static json_t *shape_json(const struct nic_template *t)
{
    return json_pack("{s:s, s:o, s:i, s:o, s:o, s:o, s:o, s:s}", "name", t->name, "links",
                     set_json(t->kinds, kind), "capacity", (int)t->capacity, "must",
                     set_json(t->must, field), "may", set_json(t->may, field), "then",
                     set_json(t->fates, action), "with", set_json(t->with, action), "source",
                     t->source);
}

static json_t *nic_json(const struct nic *nic)
{
    json_t *shapes = json_array();
    for (uint32_t i = 0; i < nic->templates; i++)
        json_array_append_new(shapes, shape_json(&nic->shape[i]));
    return json_pack("{s:s, s:s, s:s, s:i, s:b, s:b, s:b, s:o, s:s, s:s}", "name", nic->name,
                     "title", nic->title, "drivers", nic->drivers, "queues", (int)nic->queues,
                     "priorities", (int)nic->priorities, "group_filter", (int)nic->mac_filter,
                     "ip4_checksum", (int)nic->checksum, "shapes", shapes, "notes", nic->notes,
                     "source", nic->source);
}

int nics_main(int argc, char **argv)
{
    bool json = false;
    argp_parse(&argp, argc, argv, 0, NULL, &json);
    json_t *all = json_array();
    for (unsigned i = 0; nic_at(i) != NULL; i++) {
        if (json)
            json_array_append_new(all, nic_json(nic_at(i)));
        else
            print_nic(nic_at(i));
    }
    if (json)
        return out_json(offload_title, all) ? 0 : 1;
    json_decref(all);
    return out_written(offload_title) ? 0 : 1;
}
