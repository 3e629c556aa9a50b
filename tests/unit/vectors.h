/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* vectors.h -- what tests of wire/ against the recorded vectors include: the fixture and the reader
 * of the vectors. */
#pragma once

#include "recorded.h"
#include "wire_fixture.h"
