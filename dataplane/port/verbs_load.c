/* SPDX-License-Identifier: BSD-3-Clause */
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/port/verbs_api.h"

#define LIBRARY "libibverbs.so.1"

/* A function pointer, from what dlsym says is an object's. */
static bool find(void *library, const char *symbol, void *ret_function)
{
    void *at = dlsym(library, symbol);
    memcpy(ret_function, &at, sizeof(at));
    return at != NULL;
}

int verbs_load(struct verbs_api *ret_api, char err[PORT_ERROR_MAX])
{
    struct verbs_api api;
    void *library = dlopen(LIBRARY, RTLD_NOW);
    if (library == NULL) {
        snprintf(err, PORT_ERROR_MAX,
                 "verbs fabric: %s cannot be loaded: apt-get install libibverbs1 "
                 "ibverbs-providers",
                 LIBRARY);
        return -ENODEV;
    }
#define X(name, symbol, result, parameters)                                                        \
    if (!find(library, symbol, &api.name)) {                                                       \
        snprintf(err, PORT_ERROR_MAX,                                                              \
                 "verbs fabric: %s has no %s: it is too old; rdma-core 32 or later is needed",     \
                 LIBRARY, symbol);                                                                 \
        dlclose(library);                                                                          \
        return -ENODEV;                                                                            \
    }
    VERBS_API_LIST(X)
#undef X
    *ret_api = api;
    return 0;
}
