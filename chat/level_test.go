package chat

import (
	"testing"
	"testing/synctest"
)

// Programs of an earlier level skip the commands of a later one: they have to meet
// its rows, and before anything is stored that they would lose.
func TestANewLevelIsWrittenDownAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old := readGolden(t, "testdata/level1-8.golden")
		for _, store := range []*memStore{newMemStore(8), old.replay(1)} {
			s := &served{t: t, store: store}
			written := 0
			note := func(c *Config) {
				c.Checkpoint = func() error {
					written++
					for g := range store.Groups() {
						v := store.View(g)
						row, _ := v.Get(appendKey(nil, homeOf(g, store.Groups()), rowSettings))
						if st, ok := parseSettings(row); !ok || st.level != levelMax {
							t.Errorf("group %d has level %d", g, st.level)
						}
						v.Close()
					}
					return nil
				}
			}
			s.start(note)
			if written != 1 {
				t.Errorf("written down %d times", written)
			}
			s.close()
			store = store.replica()
			s.store = store
			s.start(note)
			if written != 1 {
				t.Errorf("written down again: %d times", written)
			}
			s.close()
		}
	})
}
