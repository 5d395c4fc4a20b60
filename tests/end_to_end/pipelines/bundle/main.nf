// Two tasks in the same image; the second one's module brings a program that Nextflow has Wave add to the image.
include { BUNDLED } from './modules/bundled'

process PLAIN {
    container "${params.image}"

    output:
    stdout

    script:
    '''
    printf 'plain: %s; greet: %s' "$(cat /etc/lab-image)" "$(type -P greet || echo none)"
    '''
}

workflow {
    PLAIN()
    BUNDLED()
    PLAIN.out.mix(BUNDLED.out).view { "said <$it>" }
}
