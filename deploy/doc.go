// Package deploy holds what an installation begins with: systemd units, kernel
// settings, a Dockerfile, compose files, configurations of proxies. It is no code;
// its tests run each file through the program that will read it, as far as that is
// installed. README.md says what no test runs.
package deploy
