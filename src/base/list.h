/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* list.h -- intrusive doubly linked list with a sentinel head.
 *
 * A node not on a list points to itself, so list_remove() is safe at any time after list_init().
 * The list owns nothing and locks nothing: the rules of the embedding struct apply. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *prev, *next;
};

static inline void list_init(struct list *l) {
    l->prev = l->next = l;
}

static inline bool list_is_empty(const struct list *l) {
    return l->next == l;
}

static inline void list_push_back(struct list *head, struct list *node) {
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}

static inline void list_push_front(struct list *head, struct list *node) {
    list_push_back(head->next, node);
}

static inline void list_remove(struct list *node) {
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

/* Puts all nodes of one list behind those of another, in their order. */
static inline void list_move_all(struct list *to, struct list *from) {
    if (list_is_empty(from)) return;
    from->next->prev = to->prev;
    from->prev->next = to;
    to->prev->next = from->next;
    to->prev = from->prev;
    list_init(from);
}

/* First node, or NULL. */
static inline struct list *list_first(const struct list *head) {
    return list_is_empty(head) ? NULL : head->next;
}
