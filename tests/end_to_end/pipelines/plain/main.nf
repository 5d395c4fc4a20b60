// One task in an image by its plain name.
process PLAIN {
    container "${params.image}"

    output:
    stdout

    script:
    '''
    printf 'plain: %s' "$(cat /etc/lab-image)"
    '''
}

workflow {
    PLAIN()
    PLAIN.out.view { "said <$it>" }
}
