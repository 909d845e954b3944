/** What `--help` prints. */
export const USAGE = `Usage: mountat <directory> [delay]

Mounts /proc and /sys into a directory, waits, and unmounts them again.

The directory is made where it is missing, and opened; all else goes by its
descriptor. What is mounted is unmounted on Ctrl-C (SIGINT) and SIGTERM, too.

Arguments:
  <directory>  where to mount: proc and sys are made in it with mode 0700
  [delay]      how many seconds to wait, 5 unless given

Options:
  -h, --help   show this
  --version    show the version

Exit status: 0 when all was done, 1 when not, 130 and 143 when SIGINT or
SIGTERM ended the wait.`;
