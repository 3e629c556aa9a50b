/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* country.h -- the two letters of countries, ISO 3166-1 alpha-2. Pure; any thread. */
#pragma once

#include <stdbool.h>

/* Are these two capital letters a country's? */
bool country_exists(const char *code);
