/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/base/text.h"
#include "offload/plan/internal.h"

enum { LINE_MAX_BYTES = PLAN_TEXT_MAX + 32, INTENT_COLUMNS = 36 };

struct printer {
    plan_line *line;
    void *arg;
    char buf[LINE_MAX_BYTES];
};

static void print_head(struct printer *p, const struct nic *nic, const struct plan_input *in)
{
    struct text t = text_begin(p->buf, sizeof(p->buf));
    text_str(&t, "# ");
    text_str(&t, nic->name);
    text_str(&t, ": ");
    text_str(&t, nic->title);
    p->line(p->arg, p->buf);
    t = text_begin(p->buf, sizeof(p->buf));
    text_str(&t, "# node ");
    text_dec(&t, in->link.self);
    text_str(&t, " of ");
    text_dec(&t, in->link.nodes);
    text_str(&t, ", ");
    text_str(&t, link_kind_name(in->link.kind));
    text_str(&t, ", ");
    text_dec(&t, in->queues);
    text_str(&t, in->queues == 1 ? " receive queue" : " receive queues");
    p->line(p->arg, p->buf);
}

static void print_intent(struct printer *p, const struct intent_plan *i)
{
    char name[80];
    size_t n = plan_intent_text(&i->intent, name, sizeof(name));
    struct text t = text_begin(p->buf, sizeof(p->buf));
    text_str(&t, "#   ");
    text_str(&t, name);
    do
        text_char(&t, ' ');
    while (n++ < INTENT_COLUMNS);
    text_str(&t, plan_backend_name(i->by));
    text_str(&t, i->partly ? ", partly" : "");
    text_str(&t, i->reason[0] != '\0' ? ": " : "");
    text_str(&t, i->reason);
    p->line(p->arg, p->buf);
}

static void print_lines(struct printer *p, const char *text)
{
    while (*text != '\0') {
        struct text t = text_begin(p->buf, sizeof(p->buf));
        while (*text != '\0' && *text != '\n')
            text_char(&t, *text++);
        text += *text == '\n';
        p->line(p->arg, p->buf);
    }
}

void plan_print(const struct nic *nic, const struct plan_input *in, const struct plan *plan,
                plan_line *line, void *arg)
{
    struct printer p = {.line = line, .arg = arg};
    char text[2 * PLAN_TEXT_MAX];
    print_head(&p, nic, in);
    for (uint32_t i = 0; i < plan->intents; i++)
        print_intent(&p, &plan->intent[i]);
    plan_before_all_text(nic, in, plan, text, sizeof(text));
    print_lines(&p, text);
    for (uint32_t i = 0; i < plan->rules; i++) {
        plan_before_rule_text(nic, in, &plan->rule[i], text, sizeof(text));
        print_lines(&p, text);
        struct text t = text_begin(text, sizeof(text));
        text_str(&t, "flow create 0 ");
        plan_rule_text(nic, in, &plan->rule[i], text + t.len, sizeof(text) - t.len);
        print_lines(&p, text);
    }
}
