//go:build tools

// Package tools names the programs of this group, so that go.sum covers them.
package tools

import (
	_ "github.com/prometheus/prometheus/cmd/prometheus"
)
