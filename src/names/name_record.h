/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* name_record.h -- the object that a resolver says of a name, checked and written anew (spec:
 * names, "Wire").
 *
 * Pure; any thread. Source of the keys and their types: reference, Names/Record.hs. */
#pragma once

#include "base/bytes.h"
#include "base/wr.h"

/* Reads the resolver's JSON and writes the object as clients get it: these keys alone, in their
 * order; a coin that is missing is null. E_SYNTAX: no such object, a key is missing or of a wrong
 * type, text after it; E_LIMIT: it does not fit w; E_NO_MEMORY. On an error nothing was written. */
MUST_USE enum err name_record_write(struct bytes json, struct wr *w);
