/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "app/commands/cli.h"
#include "base/begin.h"

int main(int argc, char **argv) {
    begin_process();
    return cli_main(argc, argv);
}
