//go:build !linux

package main

import (
	"context"
	"errors"
	"io"
)

var errNeedsLinux = usageError{errors.New("this needs Linux, for network namespaces and what it tells of processes")}

func reattach(context.Context, []string, io.Writer) error { return errNeedsLinux }

func wideArea(context.Context, []string, io.Writer) error { return errNeedsLinux }

func layLine(context.Context, []string, io.Writer) error { return errNeedsLinux }

func loopback(context.Context, []string, io.Writer) error { return errNeedsLinux }

func rawReceive(context.Context, []string, io.Writer) error { return errNeedsLinux }

func rawSend(context.Context, []string, io.Writer) error { return errNeedsLinux }
