// Package subprocess has what tests share that run other programs.
package subprocess

import (
	"fmt"
	"os"
)

// RequireEnv returns an error unless all of the environment variables are set. They say
// where programs are; the commands set them.
func RequireEnv(commands string, variables ...string) error {
	for _, variable := range variables {
		if os.Getenv(variable) == "" {
			return fmt.Errorf("%s is not set, which says where a program or a release is: run %s at the top of the repository", variable, commands)
		}
	}
	return nil
}
