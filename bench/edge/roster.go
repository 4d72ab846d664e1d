package main

import "sync"

// roster lists the connections that are pushed to. all is read without the
// lock, once no more of them come.
type roster[C any] struct {
	mu  sync.Mutex
	all []C
}

func (r *roster[C]) room(n int) { r.all = make([]C, 0, n) }

func (r *roster[C]) add(c C) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, c)
}

func (r *roster[C]) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.all)
}
