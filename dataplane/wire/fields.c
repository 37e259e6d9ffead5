/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/wire/fields.h"

#define F(role_, id, at_, bits_, show_, text_)                                                     \
    {.name = #id,                                                                                  \
     .text = text_,                                                                                \
     .at = at_,                                                                                    \
     .bits = bits_,                                                                                \
     .show = WIRE_SHOW_##show_,                                                                    \
     .role = WIRE_ROLE_##role_},
#define X(ID, name, from, end)                                                                     \
    static const struct wire_field fields_##ID[] = {WIRE_##ID##_FIELDS(F)};
WIRE_LAYOUT_LIST(X)
#undef X
#undef F

#define X(ID, name_, from_, end_)                                                                  \
    {.name = name_,                                                                                \
     .from = from_,                                                                                \
     .end = end_,                                                                                  \
     .fields = sizeof(fields_##ID) / sizeof(fields_##ID[0]),                                       \
     .field = fields_##ID},
static const struct wire_layout layouts[WIRE_LAYOUTS] = {WIRE_LAYOUT_LIST(X)};
#undef X

#define X(ID, header_, payload_)                                                                   \
    [WIRE_FAMILY_##                                                                                \
        ID] = {.name = #ID, .header = WIRE_LAYOUT_##header_, .payload = WIRE_LAYOUT_##payload_},
static const struct wire_family_info families[] = {WIRE_FAMILY_LIST(X)};
#undef X

const struct wire_layout *wire_layout(enum wire_layout_id id)
{
    return (unsigned)id < WIRE_LAYOUTS ? &layouts[id] : NULL;
}

const struct wire_family_info *wire_families(unsigned *ret_n)
{
    *ret_n = sizeof(families) / sizeof(families[0]);
    return families;
}

uint64_t wire_field_get(const struct wire_field *f, const uint8_t *bytes)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < f->bits; i++) {
        unsigned bit = f->at + i;
        v |= (uint64_t)(bytes[bit / 8] >> bit % 8 & 1) << i;
    }
    return v;
}
